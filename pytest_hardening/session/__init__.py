"""What happens in a session of pytest, behind the hooks of `plugin.py`: what is judged, and what is told of it."""
