"""Each connector's engine side, over real sockets, as the facts about vLLM say."""
