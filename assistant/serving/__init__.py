"""Serving base and tuned models: two engines behind one `ChatModel`.

Both engines are servers in processes of their own that speak the OpenAI protocol with vLLM's two calls for adapters.
`engine` runs either; `vllm` and `embedded` say how each is started; `embedded_server` is the embedded one itself.
"""
