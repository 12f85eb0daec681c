"""What was built: paths, folders, globs and static archives in; artifacts and their members out."""
