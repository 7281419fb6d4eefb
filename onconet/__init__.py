"OncoNet: multimodal blood-cancer diagnosis and treatment support. Research use only, never a medical device."

def __getattr__(name):
    if name != '__version__': raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from importlib.metadata import version
    return version('onconet')
