"""Discovery of Kubernetes' pods: which of them are workers, as the API server tells it."""
