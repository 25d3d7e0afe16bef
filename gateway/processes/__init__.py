"""The processes that `stepdown serve` starts, and the rooms each of them is built of.

supervisor   `stepdown serve` itself: binds the sockets, starts the others, starts again what dies
worker       one or more: HTTP and the flow; `assembly` builds its rooms
learner      one: turns the harvest into certified specialists
model host   one: `specialists/host/process`, in its room because it needs no other
"""
