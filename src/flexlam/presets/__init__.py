"""Complete settings by name. A preset is a function that returns them; its docstring says what to expect."""
