"""Why units die: what a layer was given → how much each part of it moved a unit."""
