# Tiny files for the tests of the command, made with nothing but sh: ONNX models (protobuf), tensors, NumPy arrays and
# archives. A function that makes a piece writes it to stdout; sizes stay below 16,384, so that a length takes two bytes at most.

octet() { # octet N: one byte
    # shellcheck disable=SC2059  # the format is the byte
    printf "\\$(printf '%03o' "$1")"
}

varint() { # varint N, below 16,384
    if [ "$1" -lt 128 ]; then
        octet "$1"
    else
        octet $(($1 % 128 + 128))
        octet $(($1 / 128))
    fi
}

little() { # little BYTES N: N as that many bytes, the least first
    _n=$2 _i=0
    while [ "$_i" -lt "$1" ]; do
        octet $((_n % 256))
        _n=$((_n / 256)) _i=$((_i + 1))
    done
}

number() { # number FIELD N: a varint field
    varint $(($1 * 8))
    varint "$2"
}

text() { # text FIELD STRING
    varint $(($1 * 8 + 2))
    varint ${#2}
    printf %s "$2"
}

nested() { # ... | nested FIELD: stdin as a length-delimited field
    _file=$(mktemp "$root/piece.XXXXXX")
    cat >"$_file"
    varint $(($1 * 8 + 2))
    varint "$(wc -c <"$_file" | tr -d ' ')"
    cat "$_file"
    rm -f "$_file"
}

dimension() { # dimension N or NAME
    case $1 in
    *[!0-9]*) text 2 "$1" ;;
    *) number 1 "$1" ;;
    esac | nested 1
}

value_info() { # value_info NAME TYPE DIM...
    text 1 "$1"
    _type=$2
    shift 2
    {
        number 1 "$_type"
        for _dim in "$@"; do dimension "$_dim"; done | nested 2
    } | nested 1 | nested 2
}

node() { # node OPERATOR OUTPUT INPUT...
    _operator=$1 _output=$2
    shift 2
    for _input in "$@"; do text 1 "$_input"; done
    text 2 "$_output"
    text 4 "$_operator"
}

model() { # ... | model: a graph into a model of opset 13
    nested 7 >"$root/graph"
    number 1 8
    cat "$root/graph"
    number 2 13 | nested 8
}

# f32 tensors: little-endian 1, 2, 3, -4, 0.5, 6
numbers='\000\000\200\077\000\000\000\100\000\000\100\100\000\000\200\300\000\000\000\077\000\000\300\100'
# the same big-endian
swapped='\077\200\000\000\100\000\000\000\100\100\000\000\300\200\000\000\077\000\000\000\100\300\000\000'
# [2, 3] in Fortran order: 1, -4, 2, 0.5, 3, 6
columns='\000\000\200\077\000\000\200\300\000\000\000\100\000\000\000\077\000\000\100\100\000\000\300\100'

tensor() { # tensor NAME DATA DIM...: f32
    _name=$1 _data=$2
    shift 2
    for _dim in "$@"; do number 1 "$_dim"; done
    number 2 1
    text 8 "$_name"
    # shellcheck disable=SC2059
    printf "$_data" | nested 9
}

npy() { # npy DESCR FORTRAN SHAPE DATA
    _header="{'descr': '$1', 'fortran_order': $2, 'shape': $3, }"
    printf '\223NUMPY\001\000'
    little 2 118
    printf '%-117s\n' "$_header"
    # shellcheck disable=SC2059
    printf "$4"
}

npz() { # npz FILE METHOD NAME: an archive with FILE as its member NAME, said to be packed by METHOD (0: stored)
    _size=$(wc -c <"$1" | tr -d ' ')
    printf 'PK\003\004'
    little 2 20; little 2 0; little 2 "$2"; little 4 0; little 4 0; little 4 "$_size"; little 4 "$_size"
    little 2 ${#3}; little 2 0
    printf %s "$3"
    cat "$1"
    printf 'PK\001\002'
    little 2 20; little 2 20; little 2 0; little 2 "$2"; little 4 0; little 4 0; little 4 "$_size"; little 4 "$_size"
    little 2 ${#3}; little 2 0; little 2 0; little 2 0; little 2 0; little 4 0; little 4 0
    printf %s "$3"
    printf 'PK\005\006'
    little 2 0; little 2 0; little 2 1; little 2 1; little 4 $((46 + ${#3})); little 4 $((30 + ${#3} + _size)); little 2 0
}
