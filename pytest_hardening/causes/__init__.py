"""What a build system's record has to do with a verdict: the option behind a failure, and whether a file is stale."""
