"""How long a test waits for what must happen. Only a test that has failed already ever waits so long: no machine is that slow."""

PATIENCE_S = 120.0
WORK_S = 900.0  # for half a minute of pure CPU, which other processes may stretch
