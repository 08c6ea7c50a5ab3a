"""`python -m equipoise`, the same as `equipoise`.

Owns: nothing.
Refuses to know: any command.
"""

from equipoise.cli.app import main

if __name__ == "__main__":
    main()
