class _Anything:
    def __init__(self, *_, **__):
        pass


Transform = _Anything


def __getattr__(name):
    return _Anything
