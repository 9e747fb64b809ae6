"""The stage that writes: lends turns, settles reports, paces hosts. The only writer of a run."""
