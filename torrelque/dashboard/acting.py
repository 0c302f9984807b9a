"""Stand-in."""
ACTS = {}
async def start(visit, act, form): return './'
async def aclose(site): pass
