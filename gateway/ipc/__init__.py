"""How the processes of one machine start, stop and reach each other."""
