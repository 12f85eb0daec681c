"""From verdicts to decisions: profiles say which checks are required, with which parameters."""
