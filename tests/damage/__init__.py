"""A campaign of damage: whole pictures of every format, damaged in every way, against what the program says of them."""
