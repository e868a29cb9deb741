"""Networks, addresses, published ports and the firewall: everything between a container and the world.

``service.NetworkService`` is the door; the engine calls it from its event loop (every call is short and synchronous).
"""
