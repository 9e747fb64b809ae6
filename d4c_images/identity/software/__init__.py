"""One module per media server that many publishers run, recognised by the shape of its URLs on any host. Each exports `RULE`."""
