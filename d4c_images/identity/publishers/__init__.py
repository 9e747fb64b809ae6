"""One module per publisher whose hosts are known. Each exports `RULE`; `identity.rules` puts them in order."""
