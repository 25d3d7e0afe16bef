"""Black-box checks of any gateway in front of OpenAI's API, each with a number and a source.

`python -m tests.conformance --base-url URL --teacher-port P` asks a running gateway that uses
`http://127.0.0.1:P/v1` as OpenAI's base URL; pytest asks ours.
"""
