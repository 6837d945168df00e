"""The serving side: an edge that speaks HTTP, and a runner that owns the engine.

`service.app` wires the parts. The request path starts in `service.protocols.classify.routes` and goes on in
`service.edge.data_plane`; the life of a model version is `service.lifecycle.reconciler`.
"""
