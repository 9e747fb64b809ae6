"""The publishers' server: answers for any host name on loopback, well or badly. For tests, demo and benchmarks only."""
