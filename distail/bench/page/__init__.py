"""The page of a grid: tables, charts and every cell in one HTML file, from the building blocks of a run's page."""
