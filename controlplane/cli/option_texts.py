"""What each value of StartConfig is for, with its unit: the texts of `routerctl start --help`."""

from __future__ import annotations

from controlplane.cli.option_texts_discovery import DISCOVERY_HELP

HELP: dict[str, tuple[str, str]] = {
    "host": ("ADDRESS", "Listen address of the data port; 0.0.0.0 is every address."),
    "port": ("PORT", "Data port: clients send their requests here."),
    "worker_urls": ("URL...", "Workers, as http(s)://host:port."),
    "workers": (
        "",
        "Tables of workers: url, role, labels, weight, capacity, max_concurrent_requests, priority, transfer. They are "
        "workers as those of worker_urls are.",
    ),
    "prefill": (
        "URL [PORT|none]...",
        "Workers that compute prompts and hand their KV cache to a decode worker; may be repeated. With mooncake a "
        "PORT behind a URL is that of its bootstrap server; without it, that is 8998.",
    ),
    "decode": ("URL...", "Workers that generate answers from the KV cache of a prefill worker; may be repeated."),
    "vllm_pd_disaggregation": (
        "",
        "There is prefill/decode, also as long as no such worker is known; --prefill and --decode mean it, too.",
    ),
    "kv_connector": (
        "NAME",
        "How KV cache goes from prefill to decode workers, by vLLM's connectors: nixl (pull), nixl_push, mooncake, "
        "moriio, nccl, example, lmcache, an installed connector's name, or module:Class; auto is what workers that "
        "register announce, else nixl.",
    ),
    **DISCOVERY_HELP,
    "pd_fallback": (
        "",
        "Have one worker do the whole request where no pair can; prefill workers do so last. Switch it off with "
        "--pd-fallback=false.",
    ),
    "pd_bypass_tokens": (
        "N",
        "Have a decode worker do the whole request where fewer prompt tokens are to be computed, and ask no prefill "
        "worker; 0: never.",
    ),
    "prefill_timeout_secs": ("SECONDS", "Longest wait for a prefill worker's answer; 0 is no limit."),
    "decode_first_byte_timeout_secs": (
        "SECONDS",
        "Longest wait for the first part of a decode worker's stream; 0 is no limit.",
    ),
    "decode_token_timeout_secs": (
        "SECONDS",
        "Added to that for each token that the answer may have, where it is not streamed; 0: only "
        "--request-timeout-secs limits such answers.",
    ),
    "intra_node_data_parallel_size": (
        "N",
        "Data-parallel ranks behind each worker's URL, each a worker of its own (URL@0 to URL@N-1) that is chosen by "
        "x-data-parallel-rank; 1: vLLM chooses the rank.",
    ),
    "refuse_client_rank": (
        "",
        "With ranks: refuse a client's own x-data-parallel-rank with 400; by default it chooses the rank.",
    ),
    "policy": (
        "NAME",
        "How a worker is chosen: cache_aware, kv_aware, consistent_hash, sticky_least_loaded, least_load, "
        "power_of_two, round_robin, random, an installed policy's name, or module:Class.",
    ),
    "prefill_policy": ("NAME", "The same among prefill workers; by default that of --policy."),
    "decode_policy": ("NAME", "The same among decode workers; by default that of --policy."),
    "policies": ("", "A table of policies by model, each in place of `policy` for requests that name that model."),
    "models": (
        "",
        "A table of names that clients may ask for beside the workers' models: aliases, splits by weight between "
        "models or groups of workers, LoRA adapters that workers load by themselves.",
    ),
    "forward_unknown_models": (
        "",
        "Send requests for a model that no worker has told to any worker, which may load it or answer 404, instead of "
        "answering 404.",
    ),
    "enable_igw": (
        "",
        "vllm-router's gateway mode: a model that no worker has told goes to any worker. Requests go by their model in "
        "any case.",
    ),
    "load_formula": (
        "NAME",
        "What least_load calls load: vllm, mvllm ((running * 3 + waiting) / capacity) or mvllm-half "
        "((running + waiting * 0.5) / capacity).",
    ),
    "session_headers": ("NAME...", "Request headers that tell a session; the first found wins, then the body's keys."),
    "session_max_load": (
        "FACTOR",
        "consistent_hash: a worker with more than so many times the mean load passes sessions on for a while.",
    ),
    "session_ttl_secs": ("SECONDS", "sticky_least_loaded: a session that is idle for so long is over."),
    "cache_threshold": (
        "RATIO",
        "cache_aware: part of a prompt that a worker must have to be preferred for it.",
    ),
    "balance_abs_threshold": (
        "N",
        "cache_aware: a worker with so many requests more than the least loaded one, and",
    ),
    "balance_rel_threshold": ("FACTOR", "so many times as many, is left out for a prompt, cached or not."),
    "max_tree_size": (
        "BYTES",
        "cache_aware: bytes of prompts remembered per worker; a token has about four.",
    ),
    "eviction_interval_secs": (
        "SECONDS",
        "cache_aware: how often the memory is freed of workers that are gone; what is over the bounds goes at once.",
    ),
    "prefix_index_mb": ("MIB", "cache_aware: memory of each plane for what workers have cached."),
    "tokenizer": (
        "[MODEL=]FOLDER...",
        "Folder with a model's tokenizer.json and tokenizer_config.json, by which kv_aware reads prompts; without "
        "MODEL= for every model that has none of its own. Needs `pip install routerctl[kv]`.",
    ),
    "kv_event_source": (
        "URL=ENDPOINT[,ENDPOINT...]",
        "Where a worker publishes its KV events, such as tcp://host:5557, one for each of its data-parallel ranks; "
        "may be repeated. By default each worker is asked (GET /kv_event_sources).",
    ),
    "kv_event_replay_source": (
        "URL=ENDPOINT[,ENDPOINT...]",
        "Where its past KV events can be asked for, in the same order.",
    ),
    "kv_event_block_size": (
        "TOKENS",
        "Block size that the events of workers named by --kv-event-source must have; 0: whatever they say.",
    ),
    "kv_event_model": ("MODEL", "The model that the KV events are of; requests for others go by load alone."),
    "kv_index_max_blocks": ("N", "Most blocks of one engine that the KV index holds; see docs/kv-events.md."),
    "router_temperature": (
        "FACTOR",
        "kv_aware: 0 takes the cheapest worker; above it workers are drawn, at 1 one that costs as much more as the "
        "whole prompt is drawn 2.7 times less often.",
    ),
    "kv_penalty_host": ("PART", "kv_aware: what a token cached in the host's memory is worth, from 0 to 1."),
    "kv_penalty_external": ("PART", "The same of a token in a store outside the worker."),
    "kv_penalty_disk": ("PART", "The same of a token on a disk."),
    "kv_aware_session_affinity_ttl_secs": (
        "SECONDS",
        "kv_aware: how long a session prefers its last worker; 0: never.",
    ),
    "data_planes": ("N", "Processes that forward requests; each can use one core."),
    "plane_affinity": (
        "core|none",
        "core: all threads of a plane stay on one core, which costs less, and leave it when others need it; "
        "none: they run wherever the system likes.",
    ),
    "runtime_dir": (
        "FOLDER",
        "Private folder for sockets and records; by default one per port. A router started on the folder of one "
        "that has died takes over its planes.",
    ),
    "control_bind": (
        "tcp://ADDRESS:PORT",
        "Let planes on other hosts connect (`routerctl plane`), at this port and the next one; needs --control-keys.",
    ),
    "control_keys": (
        "FOLDER",
        "The control plane's key, and in planes/ the public keys of planes that may connect; made by `routerctl keys "
        "new`. Keys may be added, removed and replaced at any time.",
    ),
    "tls_cert": (
        "FILE",
        "Certificate (PEM, with its chain) by which the data port speaks TLS, 1.2 or later; planes are replaced one by "
        "one when it was.",
    ),
    "tls_key": ("FILE", "The certificate's private key, without a password."),
    "tls_client_ca": ("FILE", "Let in only clients with a certificate of these authorities (mTLS)."),
    "admin_tls_cert": ("FILE", "The same for the admin port, whose certificate may be replaced, too."),
    "admin_tls_key": ("FILE", "The private key of that certificate."),
    "admin_tls_client_ca": ("FILE", "Let in at the admin port only who has a certificate of these authorities."),
    "admin_host": ("ADDRESS", "Listen address of the admin API; whoever reaches it commands the router."),
    "admin_port": ("PORT", "Port of the admin API; GET /openapi.json there describes it."),
    "admin_token_file": (
        "FILE",
        "File with the secret that the admin API asks for (Authorization: Bearer); needed when --admin-host is not "
        "loopback. `routerctl status` and `workers` read the same file.",
    ),
    "prometheus_host": ("ADDRESS", "Listen address of /metrics."),
    "prometheus_port": ("PORT", "Port of /metrics."),
    "prometheus_token_file": ("FILE", "File with a secret that /metrics asks for (Authorization: Bearer)."),
    "prometheus_tls_cert": ("FILE", "Certificate by which /metrics speaks TLS; it may be replaced."),
    "prometheus_tls_key": ("FILE", "The private key of that certificate."),
    "prometheus_tls_client_ca": ("FILE", "Let in at /metrics only who has a certificate of these authorities."),
    "metrics_compat": ("", "Give the figures under vllm-router's metric names as well; see docs/metrics.md."),
    "worker_startup_timeout_secs": (
        "SECONDS",
        "Give up when no worker is ready by then; a large model takes minutes to load.",
    ),
    "worker_startup_check_interval": (
        "SECONDS",
        "Longest pause between looks at a starting worker; the first ones are much shorter.",
    ),
    "health_failure_threshold": ("N", "Failed checks in a row until a worker gets no more requests."),
    "health_success_threshold": ("N", "Good checks in a row until it gets requests again."),
    "health_check_timeout_secs": ("SECONDS", "Longest wait for a check's answer; a busy engine takes over a second."),
    "health_check_interval_secs": ("SECONDS", "Time between checks of one worker."),
    "health_check_endpoint": ("PATH", "What a check asks for; the answer 200 is good."),
    "health_min_success_rate": ("SHARE", "Part of the last checks (0 to 1) that must be good; 0 is no such rule."),
    "health_max_response_time_secs": ("SECONDS", "Longest mean time of the last checks; 0 is no such rule."),
    "health_window_size": ("N", "How many of the last checks these two look at."),
    "disable_health_check": (
        "",
        "Do not check workers that are ready, but for those that could not be reached.",
    ),
    "load_interval_ms": ("MILLISECONDS", "Time between readings of one worker's load from its /metrics."),
    "load_cpu_percent": (
        "PERCENT",
        "Share of one core that the control plane may use; where reading all loads takes more, it is done less often.",
    ),
    "no_load_header": ("", "Do not ask vLLM to tell its load in the head of answers, where the last reading is old."),
    "connect_timeout_secs": ("SECONDS", "Longest wait for a connection to a worker; then another one is tried."),
    "worker_ca_file": (
        "FILE",
        "Authorities (PEM) that sign https workers' certificates, instead of the system's.",
    ),
    "worker_client_cert": ("FILE", "Certificate (PEM, with its chain) by which the router proves itself to workers."),
    "worker_client_key": ("FILE", "Its private key (PEM, not encrypted), where it is not in the same file."),
    "worker_server_name": ("NAME", "Name that https workers' certificates must have, instead of the URL's host."),
    "api_key_file": (
        "FILE",
        "File with the key that workers ask for; all requests to them carry it in place of what clients send.",
    ),
    "client_keys_file": (
        "FILE",
        "File of the keys by which clients may use the router, made with `routerctl keys client`; without it nobody is "
        "asked for one. It is read again when it changes.",
    ),
    "cors_allowed_origins": (
        "ORIGIN...",
        "Web pages that may use the router from a browser, such as https://chat.example.com; none: no page may. By "
        "default any may, without the browser's cookies or certificates.",
    ),
    "trusted_proxies": (
        "NETWORK...",
        "Addresses or networks of proxies whose X-Forwarded-* and Forwarded fields count; from all others these are "
        "taken out.",
    ),
    "request_timeout_secs": ("SECONDS", "Longest time that one request may take at a worker."),
    "response_header_timeout_secs": (
        "SECONDS",
        "Longest wait for the beginning of an answer; 0 is no limit. One that is not streamed begins when it ends.",
    ),
    "stream_idle_timeout_secs": ("SECONDS", "Longest pause of a worker within an answer; 0 is no limit."),
    "client_body_timeout_secs": ("SECONDS", "Longest pause of a client within its request's body; 0 is no limit."),
    "client_write_timeout_secs": ("SECONDS", "Longest time that a client may take nothing; 0 is no limit."),
    "retry_max_retries": ("N", "Attempts for one request in all, the first one included."),
    "retry_initial_backoff_ms": ("MILLISECONDS", "Pause before a worker is tried again, when no other is left."),
    "retry_max_backoff_ms": ("MILLISECONDS", "Longest such pause."),
    "retry_backoff_multiplier": ("FACTOR", "How much longer each further pause is."),
    "retry_jitter_factor": ("FACTOR", "How much of a pause is random, from 0 to 1."),
    "disable_retries": ("", "Make one attempt only (and one more on a connection that had gone stale)."),
    "cb_failure_threshold": (
        "N",
        "Failures within the window, and a fifth of the requests meanwhile, until a worker's breaker opens.",
    ),
    "cb_success_threshold": ("N", "Probes in a row that must pass until it closes."),
    "cb_timeout_duration_secs": ("SECONDS", "Time that it stays open before a probe."),
    "cb_window_duration_secs": ("SECONDS", "Time in which failures are counted together."),
    "disable_circuit_breaker": ("", "Take no worker out for failing requests."),
    "max_ejection_percent": ("PERCENT", "Most workers of a model that may be out for failing or late requests."),
    "ejection_interval_secs": ("SECONDS", "Time after which workers are compared with each other each time."),
    "ejection_request_volume": ("N", "Requests that a worker must have had in it to be compared."),
    "ejection_min_workers": ("N", "Workers with so many requests that there must be."),
    "ejection_stdev_factor": (
        "FACTOR",
        "Eject a worker whose success rate is so many standard deviations, and a tenth, below the mean.",
    ),
    "ejection_base_time_secs": ("SECONDS", "Time that it is out, multiplied by how often it was in a row."),
    "ejection_max_time_secs": ("SECONDS", "Longest such time."),
    "ejection_latency_factor": (
        "FACTOR",
        "Eject a worker whose first byte of streams comes so many times later than the median worker's; 0 is never.",
    ),
    "ejection_latency_floor_ms": ("MILLISECONDS", "And at least so much later."),
    "disable_ejection": ("", "Eject no worker for doing worse than the others."),
    "slow_start_secs": (
        "SECONDS",
        "Time in which the share of a worker that has become ready grows to a full one; 0 gives it at once.",
    ),
    "max_payload_size": ("BYTES", "Largest request body taken."),
    "strict_paths": ("", "Refuse paths that are not in the table of docs/api.md with 404, instead of passing them on."),
    "trust_kv_transfer_params": (
        "",
        "Forward clients' kv_transfer_params; by default they are taken out, as wrong ones end a vLLM engine.",
    ),
    "request_id_headers": ("NAME...", "Request headers that may hold a request's id; the first found wins."),
    "expose_worker": (
        "",
        "Tell clients which worker answered (header x-routerctl-worker), or failed.",
    ),
    "mvllm_compat": ("", "Answer GET / and GET /health as mvllm does, in JSON; see docs/from-mvllm.md."),
    "explain": ("", "Say in each answer's header fields why its worker was chosen (x-routerctl-...)."),
    "receipts": ("N", "Last requests that each plane can tell of (routerctl explain)."),
    "max_concurrent_requests": (
        "N",
        "Most requests that may be open at workers at a time, over all planes; 0: no limit. One counts until its last "
        "byte.",
    ),
    "model_max_concurrent_requests": (
        "MODEL=N...",
        "The same of requests for one model; may be repeated. A model without one has no limit of its own.",
    ),
    "worker_max_concurrent_requests": (
        "N",
        "Most requests that each worker may have at a time, over all planes, unless a limit of its own is set; 0: no "
        "limit.",
    ),
    "adaptive_worker_limit": (
        "",
        "Find how many requests each worker takes well at a time by when its answers begin; the worker's limit is the "
        "most that is tried. For streamed answers of workers whose capacity nobody knows.",
    ),
    "rate_limit_tokens_per_second": (
        "N",
        "Most requests per second that may be sent on, over all planes (a token is one request); 0: no limit.",
    ),
    "queue_size": (
        "N",
        "Requests for one model that may wait for their turn, over all planes; those above it are refused at once.",
    ),
    "queue_timeout_secs": ("SECONDS", "Longest time that a request may wait for its turn; then it is answered 504."),
    "preempt_batch": (
        "",
        "Take a request of class batch whose answer has not begun back from its worker, once, when another one waits.",
    ),
    "drain_delay_secs": (
        "SECONDS",
        "At a stop, go on serving for so long while /readiness says no, so that load balancers send nothing more.",
    ),
    "no_admin_on_main": (
        "",
        "Do not show or change the fleet on the data port; with --admin-token-file or --api-key-file it is so anyway.",
    ),
    "shutdown_grace_secs": ("SECONDS", "Time for running requests to finish at a stop; Kubernetes kills after 30."),
    "hung_plane_secs": (
        "SECONDS",
        "Replace a plane or control plane that lives but did not answer for so long, while others did; 0 is never.",
    ),
    "log_level": ("LEVEL", "debug, info, warning, error or critical."),
    "log_format": ("text|json", "How lines of the log look on stderr."),
    "log_dir": (
        "FOLDER",
        "Also write vllm-router.log, vllm-router-error.log (errors only) and vllm-router-structured.log (JSON) there; "
        "each is rotated at 64 MiB, and five older ones are kept.",
    ),
    "access_log": (
        "off|errors|all",
        "A line for each request that failed, or for all; at log level debug, errors is all. docs/logs.md.",
    ),
    "console": ("", "In a terminal, show below the log how the router does, in a line of its own."),
    "log_prompts": (
        "",
        "Show the beginning of requests' bodies in these lines, with the prompts.",
    ),
    "otlp_traces_endpoint": (
        "URL",
        "Send traces of requests to this OpenTelemetry collector, such as http://host:4318/v1/traces (OTLP over HTTP).",
    ),
    "otel_sampling_ratio": (
        "SHARE",
        "Share of requests, from 0 to 1, that begin a trace; those whose caller has decided go by that.",
    ),
    "watch_config": (
        "",
        "Take the file named by --config up by itself when it has changed, as `routerctl reload` does.",
    ),
}
