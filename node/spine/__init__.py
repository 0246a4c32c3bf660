"""The pure core: anatomy, geometry, volumes, findings and the rules. numpy only, no I/O."""
