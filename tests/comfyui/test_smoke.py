def test_import():
    import comfy.sd  # noqa: F401
    from magcache.comfyui import nodes
    assert nodes
