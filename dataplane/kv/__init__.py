"""What the plane knows of the engines' KV caches, and how it finds a request's prompt there."""
