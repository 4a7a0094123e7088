"""Serving base and tuned models: engines behind one `ChatModel`, and one address for all of them.

Every engine is a server in a process of its own that speaks the OpenAI protocol with vLLM's two calls for adapters.
`placing` says which models take which servers, `room` starts and keeps them, `endpoint` is what is loaded on one, and
`engine` its process. `vllm` and `embedded` say how each kind is started, `attached` is one that somebody else runs, and
`embedded_server` is the embedded one itself. `proof` finds out who answers; `gateway` is the address for programs, and
`exchange` what it tells whoever listens.
"""
