"""What holds for every machine of a kind, under the files of the devices."""
