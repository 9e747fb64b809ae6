"""One module per publisher whose hosts are known. Each exports `RULE`; `identity.registry` puts them in order."""
