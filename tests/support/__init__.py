"""What tests of several rooms need to set a scene or to look at one. Holds no tests."""
