"""Results for people: tables, figures, the self-contained page."""
