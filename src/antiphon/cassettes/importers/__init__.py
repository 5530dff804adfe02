"""What reads recordings that other tools made, one module for each format."""
