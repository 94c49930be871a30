"""HTML pages: their style, templates, and figures as inline SVG."""
