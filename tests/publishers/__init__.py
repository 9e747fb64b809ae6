"""The publishers' server: answers for any host name on loopback, well or badly. For tests, the demo and the benchmarks; not for the network."""
