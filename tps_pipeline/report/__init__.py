"""What a person looks at: plots, pictures, tables on the terminal, one HTML page."""
