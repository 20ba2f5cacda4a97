package main

import "flag"

var update = flag.Bool("update", false, "write the goldens and scripts instead of comparing")
