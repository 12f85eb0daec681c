"""Build systems: which files a build makes, and how. Nothing is run, nothing but what they left is read."""
