"""The page on the admin port: its files, and what it follows."""
