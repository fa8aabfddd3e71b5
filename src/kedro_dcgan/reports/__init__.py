"""What people look at: pictures and pages made from the project's data. Nothing is read or written here."""
