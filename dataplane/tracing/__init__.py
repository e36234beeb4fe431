"""Traces of requests: who continues which (`context`), what is told of one (`spans`), and to whom (`exporter`)."""
