"""The serving side: an edge that speaks HTTP and a runner that owns the engine.

`service.app` wires the parts; `service.edge` shows the path of a request, `service.lifecycle` that of a model.
"""
