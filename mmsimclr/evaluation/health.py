def health(f): return {'x': 1.0}
