"""Reports for people: HTML pages, Markdown tables and pictures. Nothing here reads or writes the project's data."""
