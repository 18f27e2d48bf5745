"""Harmless operations of other packages, as data.

Their names come from the libraries in each package's wheel. All other operations of a package are
dangerous (`dangerous_operations`) or unknown.
"""

from __future__ import annotations

from hubopt.scanning.operation_groups import Harmless, names

PACKAGED = (
    Harmless(
        "process text in tensorflow_text 2.21.1; their vocabularies and models are tensors "
        "or attributes, not files",
        names(
            """
CaseFoldUTF8 ConstrainedSequence FastBertNormalize FastWordpieceTokenizeWithOffsets
FindSourceOffsets MaxSpanningTree NormalizeUTF8 NormalizeUTF8WithOffsetsMap PhraseTokenize
RegexSplitWithOffsets RougeL SentenceFragments SentenceFragmentsV2 SentencepieceDetokenizeOp
SentencepieceIdToStringOp SentencepieceOp SentencepieceStringToIdOp SentencepieceTokenizeOp
SentencepieceTokenizeWithOffsetsOp SentencepieceVocabSizeOp SplitMergeTokenizeWithOffsets
TFText>BoiseTagsToOffsets TFText>ByteSplitByOffsets TFText>ByteSplitWithOffsets
TFText>FastSentencepieceDetokenize TFText>FastSentencepieceTokenize TFText>FastWordpieceDetokenize
TFText>NgramsStringJoin TFText>OffsetsToBoiseTags TFText>PhraseDetokenize
TFText>RoundRobinGenerateMasks TFText>RoundRobinTrim TFText>Utf8Binarize
TFText>WhitespaceTokenizeWithOffsetsV2 TokenizerFromLogits UnicodeScriptTokenizeWithOffsets
WhitespaceTokenizeWithOffsets WordpieceTokenizeWithOffsets
"""
        ),
    ),
    Harmless(
        "compute from their inputs in tensorflow_addons 0.23 and earlier",
        names(
            """
Addons>AdjustHsvInYiq Addons>CorrelationCost Addons>CorrelationCostGrad Addons>EmbeddingBag
Addons>EmbeddingBagGrad Addons>EuclideanDistanceTransform Addons>GatherTree Addons>Gelu
Addons>GeluGrad Addons>Hardshrink Addons>HardshrinkGrad Addons>ImageConnectedComponents
Addons>ImageProjectiveTransformV2 Addons>Lisht Addons>LishtGrad Addons>Mish Addons>MishGrad
Addons>ParseTime Addons>Resampler Addons>ResamplerGrad Addons>Rrelu Addons>RreluGrad
Addons>SkipGramGenerateCandidates Addons>Softshrink Addons>SoftshrinkGrad Addons>Tanhshrink
Addons>TanhshrinkGrad
"""
        ),
    ),
    Harmless(
        "hold and evaluate a decision forest of tensorflow_decision_forests 1.12 in "
        "memory; only the operations that load it name files",
        names(
            """
SimpleMLCreateModelResource SimpleMLInferenceLeafIndexOpWithHandle SimpleMLInferenceOp
SimpleMLInferenceOpWithHandle
"""
        ),
    ),
    Harmless(
        "parse and join messages in memory in struct2tensor 0.48",
        names(
            """
DecodeProtoMap DecodeProtoMapV2 DecodeProtoSparseV2 DecodeProtoSparseV3 DecodeProtoSparseV4
EquiJoinAnyIndices EquiJoinIndices RunLengthBefore
"""
        ),
    ),
    Harmless(
        "simulate circuits in memory in tensorflow_quantum 0.7",
        names(
            """
TfqAdjointGradient TfqAppendCircuit TfqCalculateUnitary TfqInnerProduct TfqInnerProductGrad
TfqNoisyExpectation TfqNoisySampledExpectation TfqNoisySamples TfqPsDecompose TfqPsSymbolReplace
TfqPsWeightsFromSymbols TfqResolveParameters TfqSimulateExpectation TfqSimulateMPS1DExpectation
TfqSimulateMPS1DSampledExpectation TfqSimulateMPS1DSamples TfqSimulateSampledExpectation
TfqSimulateSamples TfqSimulateState
"""
        ),
    ),
    Harmless(
        "keep tables in memory in tensorflow_recommenders_addons 0.8, or partition and sum tensors",
        names(
            """
TFRA>CuckooHashTableAccum TFRA>CuckooHashTableClear TFRA>CuckooHashTableExport
TFRA>CuckooHashTableFind TFRA>CuckooHashTableFindWithExists TFRA>CuckooHashTableImport
TFRA>CuckooHashTableInsert TFRA>CuckooHashTableOfTensors TFRA>CuckooHashTableRemove
TFRA>CuckooHashTableSize TFRA>DynamicPartition TFRA>DynamicStitch TFRA>DynamicStitchFast
TFRA>HkvHashTableAccum TFRA>HkvHashTableClear TFRA>HkvHashTableExport
TFRA>HkvHashTableExportKeysAndScores TFRA>HkvHashTableExportWithScores TFRA>HkvHashTableFind
TFRA>HkvHashTableFindWithExists TFRA>HkvHashTableImport TFRA>HkvHashTableInsert
TFRA>HkvHashTableOfTensors TFRA>HkvHashTableRemove TFRA>HkvHashTableSize TFRA>ParallelDynamicStitch
TFRA>SparseSegmentSum TFRA>SparseSegmentSumWithNumSegments
"""
        ),
    ),
)
