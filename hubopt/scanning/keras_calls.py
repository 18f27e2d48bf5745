"""The functions of TensorFlow that layers of Keras 2 may call, as data.

Keras 2 calls functions while it loads a file, with arguments from the file. A function is called
only if it is known to do nothing but compute. All names are from TensorFlow's public API.
"""

from __future__ import annotations

import re

_TOP_LEVEL = """
abs accumulate_n acos acosh add add_n angle approx_top_k arg_max arg_min argmax argmin argsort
as_string asin asinh Assert assert_equal assert_greater assert_greater_equal assert_less
assert_less_equal assert_near assert_negative assert_non_negative assert_non_positive
assert_none_equal assert_positive assert_rank assert_rank_at_least assert_rank_in atan atan2 atanh
batch_gather batch_to_space batch_to_space_nd betainc bincount bitcast boolean_mask
broadcast_dynamic_shape broadcast_static_shape broadcast_to cast ceil check_numerics cholesky
cholesky_solve clip_by_average_norm clip_by_global_norm clip_by_norm clip_by_value complex concat
confusion_matrix conj constant convert_to_tensor cos cosh count_nonzero cross cumprod cumsum
decode_base64 decode_compressed decode_csv decode_raw depth_to_space dequantize diag diag_part
digamma div div_no_nan divide dynamic_partition dynamic_stitch edit_distance eig eigvals einsum
encode_base64 ensure_shape equal erf erfc exp expand_dims expm1 extract_image_patches
extract_volume_patches eye fft fft2d fft3d fftnd fill fingerprint floor floor_div floordiv floormod
gather gather_nd global_norm greater greater_equal guarantee_const histogram_fixed_width
histogram_fixed_width_bins identity identity_n ifft ifft2d ifft3d ifftnd igamma igammac imag
invert_permutation irfftnd is_finite is_inf is_nan is_non_decreasing is_strictly_increasing lbeta
less less_equal lgamma lin_space linspace log log1p log_sigmoid logical_and logical_not logical_or
logical_xor matmul matrix_band_part matrix_determinant matrix_diag matrix_diag_part matrix_inverse
matrix_set_diag matrix_solve matrix_solve_ls matrix_square_root matrix_transpose
matrix_triangular_solve maximum meshgrid minimum mod multinomial multiply negative norm not_equal
one_hot ones ones_like pad parallel_stack polygamma pow qr quantize quantize_v2 quantized_concat
random_crop random_gamma random_normal random_poisson random_shuffle random_uniform range rank real
realdiv reciprocal reduce_all reduce_any reduce_join reduce_logsumexp reduce_max reduce_mean
reduce_min reduce_prod reduce_sum regex_replace repeat required_space_to_batch_paddings reshape
reverse reverse_sequence reverse_v2 rfftnd rint roll round rsqrt saturate_cast scalar_mul scatter_nd
searchsorted segment_max segment_mean segment_min segment_prod segment_sum self_adjoint_eig
self_adjoint_eigvals sequence_mask setdiff1d shape shape_n sigmoid sign sin sinh size slice sort
space_to_batch space_to_batch_nd space_to_depth sparse_add sparse_concat sparse_fill_empty_rows
sparse_mask sparse_matmul sparse_maximum sparse_minimum sparse_reduce_max sparse_reduce_sum
sparse_reorder sparse_reset_shape sparse_reshape sparse_retain sparse_segment_mean
sparse_segment_sqrt_n sparse_segment_sum sparse_slice sparse_softmax sparse_split
sparse_tensor_dense_matmul sparse_tensor_to_dense sparse_to_dense sparse_to_indicator
sparse_transpose split sqrt square squared_difference squeeze stack stop_gradient strided_slice
string_join string_split string_strip string_to_hash_bucket string_to_hash_bucket_fast
string_to_hash_bucket_strong string_to_number substr subtract svd tan tanh tensor_scatter_add
tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub
tensor_scatter_nd_update tensor_scatter_sub tensor_scatter_update tensordot tile to_bfloat16
to_complex128 to_complex64 to_double to_float to_int32 to_int64 trace transpose truediv truncatediv
truncatemod truncated_normal unique unique_with_counts unravel_index unsorted_segment_max
unsorted_segment_mean unsorted_segment_min unsorted_segment_prod unsorted_segment_sqrt_n
unsorted_segment_sum unstack verify_tensor_all_finite where where_v2 zeros zeros_like zeta
"""
_MODULES = (
    r"(audio|bitwise|dtypes|image|linalg|linalg\.experimental|math|math\.special|nn|"
    r"nn\.experimental|quantization|ragged|sets|signal|sparse|spectral|strings|__operators__)\."
    r"(?!\w*candidate_sampler$|nce_loss$|sampled_softmax_loss$)\w+"
)
_PARTS = (
    r"debugging\.(assert_\w+|check_numerics|is_numeric_tensor)",
    r"io\.(decode_(?!proto$)\w+|encode_(base64|jpeg|png)|parse_\w+|serialize_\w+)",
    r"random\.(experimental\.)?(categorical|fold_in|gamma|index_shuffle|multinomial|normal|poisson|"
    r"shuffle|split|stateless_\w+|truncated_normal|uniform)",
    r"keras\.(activations|losses|metrics)\.(?!get$|serialize$|deserialize$)[a-z]\w*",
    r"keras\.backend\.(abs|all|any|arange|argmax|argmin|batch_dot|batch_flatten|bias_add|"
    r"binary_crossentropy|cast|categorical_crossentropy|clip|concatenate|constant|conv\dd|cos|"
    r"cumprod|cumsum|depthwise_conv2d|dot|dropout|elu|equal|exp|expand_dims|eye|flatten|gather|"
    r"greater|greater_equal|hard_sigmoid|identity|l2_normalize|less|less_equal|log|max|maximum|mean|"
    r"min|minimum|not_equal|one_hot|ones_like|permute_dimensions|pool\dd|pow|prod|relu|repeat|"
    r"repeat_elements|reshape|resize_images|reverse|round|shape|sigmoid|sign|sin|softmax|softplus|"
    r"softsign|spatial_2d_padding|sqrt|square|squeeze|stack|std|stop_gradient|sum|switch|tanh|"
    r"temporal_padding|tile|transpose|var|zeros_like)",
)
_COMPUTES = re.compile(
    r"(compat\.v[12]\.)?(" + "|".join((_MODULES, *_PARTS, *_TOP_LEVEL.split())) + r")"
)
_CLASS_METHOD = re.compile(r"(compat\.v[12]\.)?RaggedTensor\.from_\w+")
ATTRIBUTES = frozenset(
    [
        "values",
        "flat_values",
        "row_splits",
        "nested_row_splits",
        "value_rowids",
        "nested_value_rowids",
        "nrows",
        "row_starts",
        "row_limits",
        "row_lengths",
        "nested_row_lengths",
        "bounding_shape",
        "with_values",
        "with_flat_values",
        "with_row_splits_dtype",
        "merge_dims",
        "to_tensor",
        "to_sparse",
        "indices",
        "dense_shape",
    ]
)
"""Members of a ragged or sparse tensor that layers of Keras 2 may use."""


def computes(function: str) -> bool:
    """Whether a function of TensorFlow, by its name in the API, does nothing but compute."""
    return _COMPUTES.fullmatch(function) is not None


def builds_tensor(method: str) -> bool:
    """Whether a class's method, by its name in the API, does nothing but build a tensor."""
    return _CLASS_METHOD.fullmatch(method) is not None
