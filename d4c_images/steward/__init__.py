"""The stage that writes: lends turns, settles reports, paces hosts. The one writer of a run."""
