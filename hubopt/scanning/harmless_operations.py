"""Harmless operations that keep state, run functions or have a name that sounds dangerous, as data.

TensorFlow 2.21 calls most of them stateful. The reason of a group says why none of its operations
reaches outside this process.
"""

from __future__ import annotations

from hubopt.scanning.operation_groups import Harmless, names

HARMLESS = (
    Harmless(
        "keep and change variables in the memory of this process",
        names(
            """
Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp
AssignVariableXlaConcatND DestroyResourceOp DestroyTemporaryVariable DisableCopyOnRead
IsVariableInitialized NegTrain ReadVariableOp ReadVariableXlaSplitND ResourceApplyAdaMax
ResourceApplyAdadelta ResourceApplyAdagrad ResourceApplyAdagradDA ResourceApplyAdagradV2
ResourceApplyAdam ResourceApplyAdamWithAmsgrad ResourceApplyAddSign ResourceApplyCenteredRMSProp
ResourceApplyFtrl ResourceApplyFtrlV2 ResourceApplyGradientDescent ResourceApplyKerasMomentum
ResourceApplyMomentum ResourceApplyPowerSign ResourceApplyProximalAdagrad
ResourceApplyProximalGradientDescent ResourceApplyRMSProp ResourceCountUpTo ResourceGather
ResourceGatherNd ResourceScatterAdd ResourceScatterDiv ResourceScatterMax ResourceScatterMin
ResourceScatterMul ResourceScatterNdAdd ResourceScatterNdMax ResourceScatterNdMin
ResourceScatterNdSub ResourceScatterNdUpdate ResourceScatterSub ResourceScatterUpdate
ResourceSparseApplyAdadelta ResourceSparseApplyAdagrad ResourceSparseApplyAdagradDA
ResourceSparseApplyAdagradV2 ResourceSparseApplyCenteredRMSProp ResourceSparseApplyFtrl
ResourceSparseApplyFtrlV2 ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum
ResourceSparseApplyProximalAdagrad ResourceSparseApplyProximalGradientDescent
ResourceSparseApplyRMSProp ResourceStridedSliceAssign TemporaryVariable VarHandleOp
VarIsInitializedOp Variable VariableShape VariableV2
"""
        ),
    ),
    Harmless(
        "keep and look up tables in the memory of this process; they name no file",
        names(
            """
AnonymousHashTable AnonymousMutableDenseHashTable AnonymousMutableHashTable
AnonymousMutableHashTableOfTensors HashTable HashTableV2 InitializeTable InitializeTableFromDataset
InitializeTableV2 LookupTableExport LookupTableExportV2 LookupTableFind LookupTableFindV2
LookupTableImport LookupTableImportV2 LookupTableInsert LookupTableInsertV2 LookupTableRemoveV2
LookupTableSize LookupTableSizeV2 MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable
MutableHashTableOfTensors MutableHashTableOfTensorsV2 MutableHashTableV2
"""
        ),
    ),
    Harmless(
        "draw random numbers, or keep the state of a generator in memory",
        names(
            """
AllCandidateSampler AnonymousRandomSeedGenerator AnonymousSeedGenerator DeleteRandomSeedGenerator
DeleteSeedGenerator DummySeedGenerator LearnedUnigramCandidateSampler LogUniformCandidateSampler
Multinomial NonDeterministicInts ParameterizedTruncatedNormal RandomCrop RandomGamma RandomPoisson
RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt RngReadAndSkip
RngSkip SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 StatefulRandomBinomial
StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
StatefulUniformFullInt StatefulUniformInt StatelessRandomGetAlg ThreadUnsafeUnigramCandidateSampler
TruncatedNormal UniformCandidateSampler
"""
        ),
    ),
    Harmless(
        "compute a recurrent network with dropout, which draws random numbers",
        names(
            """
CudnnRNN CudnnRNNBackprop CudnnRNNBackpropV2 CudnnRNNBackpropV3 CudnnRNNV2 CudnnRNNV3
"""
        ),
    ),
    Harmless(
        "run the model's own functions, whose nodes are scanned like all others",
        names(
            """
BatchFunction Case For If MapDefun PartitionedCall RiscCondition RiscWhile StatefulPartitionedCall
StatelessCase StatelessIf StatelessWhile SymbolicGradient While XlaIf XlaLaunch XlaLaunchV2
XlaWhile
"""
        ),
    ),
    Harmless(
        "pass tensors through queues, stacks and arrays in the memory of this "
        "process; a shared name does not leave it",
        names(
            """
AccumulatorApplyGradient AccumulatorNumAccumulated AccumulatorSetGlobalStep AccumulatorTakeGradient
AddManySparseToTensorsMap AddSparseToTensorsMap Barrier BarrierClose BarrierIncompleteSize
BarrierInsertMany BarrierReadySize BarrierTakeMany Batch ConditionalAccumulator ConsumeMutexLock
FIFOQueue FIFOQueueV2 MapClear MapIncompleteSize MapPeek MapSize MapStage MapUnstage
MapUnstageNoKey MutexLock MutexV2 OrderedMapClear OrderedMapIncompleteSize OrderedMapPeek
OrderedMapSize OrderedMapStage OrderedMapUnstage OrderedMapUnstageNoKey PaddingFIFOQueue
PaddingFIFOQueueV2 PriorityQueue PriorityQueueV2 QueueClose QueueCloseV2 QueueDequeue
QueueDequeueMany QueueDequeueManyV2 QueueDequeueUpTo QueueDequeueUpToV2 QueueDequeueV2 QueueEnqueue
QueueEnqueueMany QueueEnqueueManyV2 QueueEnqueueV2 QueueIsClosed QueueIsClosedV2 QueueSize
QueueSizeV2 RandomShuffleQueue RandomShuffleQueueV2 ResourceAccumulatorApplyGradient
ResourceAccumulatorNumAccumulated ResourceAccumulatorSetGlobalStep ResourceAccumulatorTakeGradient
ResourceConditionalAccumulator SparseAccumulatorApplyGradient SparseAccumulatorTakeGradient
SparseConditionalAccumulator Stack StackClose StackCloseV2 StackPop StackPopV2 StackPush
StackPushV2 StackV2 Stage StageClear StagePeek StageSize TakeManySparseFromTensorsMap TensorArray
TensorArrayClose TensorArrayCloseV2 TensorArrayCloseV3 TensorArrayConcat TensorArrayConcatV2
TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV2 TensorArrayGatherV3 TensorArrayGrad
TensorArrayGradV2 TensorArrayGradV3 TensorArrayGradWithShape TensorArrayPack TensorArrayRead
TensorArrayReadV2 TensorArrayReadV3 TensorArrayScatter TensorArrayScatterV2 TensorArrayScatterV3
TensorArraySize TensorArraySizeV2 TensorArraySizeV3 TensorArraySplit TensorArraySplitV2
TensorArraySplitV3 TensorArrayUnpack TensorArrayV2 TensorArrayV3 TensorArrayWrite
TensorArrayWriteV2 TensorArrayWriteV3 Unbatch UnbatchGrad Unstage
"""
        ),
    ),
    Harmless(
        "build datasets from tensors and from other datasets, and iterate over them in "
        "memory; other operations read the files",
        names(
            """
AnonymousIterator AnonymousIteratorV2 AnonymousIteratorV3 AnonymousMemoryCache
AnonymousMultiDeviceIterator AnonymousMultiDeviceIteratorV3 AssertCardinalityDataset
AssertNextDataset AssertPrevDataset AutoShardDataset BatchDataset BatchDatasetV2
BytesProducedStatsDataset ChooseFastestBranchDataset ChooseFastestDataset ConcatenateDataset
DatasetCardinality DatasetFingerprint DatasetToGraph DatasetToGraphV2 DatasetToSingleElement
DeleteIterator DeleteMemoryCache DeleteMultiDeviceIterator DenseToSparseBatchDataset
DirectedInterleaveDataset DummyIterationCounter DummyMemoryCache ExperimentalAssertNextDataset
ExperimentalAutoShardDataset ExperimentalBytesProducedStatsDataset ExperimentalChooseFastestDataset
ExperimentalDatasetCardinality ExperimentalDenseToSparseBatchDataset
ExperimentalDirectedInterleaveDataset ExperimentalGroupByReducerDataset
ExperimentalGroupByWindowDataset ExperimentalIgnoreErrorsDataset ExperimentalIteratorGetDevice
ExperimentalLatencyStatsDataset ExperimentalMapAndBatchDataset ExperimentalMapDataset
ExperimentalMaxIntraOpParallelismDataset ExperimentalNonSerializableDataset
ExperimentalParallelInterleaveDataset ExperimentalParseExampleDataset
ExperimentalPrivateThreadPoolDataset ExperimentalRandomDataset ExperimentalRebatchDataset
ExperimentalScanDataset ExperimentalSetStatsAggregatorDataset ExperimentalSlidingWindowDataset
ExperimentalStatsAggregatorHandle ExperimentalStatsAggregatorSummary ExperimentalTakeWhileDataset
ExperimentalThreadPoolDataset ExperimentalThreadPoolHandle ExperimentalUnbatchDataset
ExperimentalUniqueDataset FilterByLastComponentDataset FilterDataset FinalizeDataset FlatMapDataset
GeneratorDataset GlobalShuffleDataset GroupByReducerDataset GroupByWindowDataset
IgnoreErrorsDataset IndexFlatMapDataset InterleaveDataset Iterator IteratorFromStringHandle
IteratorFromStringHandleV2 IteratorGetDevice IteratorGetModelProto IteratorGetNext
IteratorGetNextAsOptional IteratorGetNextSync IteratorToStringHandle IteratorV2 LatencyStatsDataset
LegacyParallelInterleaveDatasetV2 ListDataset MakeIterator MapAndBatchDataset MapDataset
MaxIntraOpParallelismDataset ModelDataset MultiDeviceIterator MultiDeviceIteratorFromStringHandle
MultiDeviceIteratorGetNextFromShard MultiDeviceIteratorInit MultiDeviceIteratorToStringHandle
NonSerializableDataset OneShotIterator OptimizeDataset OptimizeDatasetV2 OptionsDataset
PaddedBatchDataset PaddedBatchDatasetV2 ParallelBatchDataset ParallelFilterDataset
ParallelInterleaveDataset ParallelInterleaveDatasetV2 ParallelInterleaveDatasetV3
ParallelInterleaveDatasetV4 ParallelMapDataset ParallelMapDatasetV2 ParseExampleDataset
ParseExampleDatasetV2 PrefetchDataset PrivateThreadPoolDataset RandomDataset RandomDatasetV2
RangeDataset RebatchDataset RebatchDatasetV2 ReduceDataset RepeatDataset RewriteDataset
SamplingDataset ScanDataset SerializeIterator SetStatsAggregatorDataset ShardDataset
ShuffleAndRepeatDataset ShuffleAndRepeatDatasetV2 ShuffleDataset ShuffleDatasetV2 ShuffleDatasetV3
SkipDataset SlidingWindowDataset SparseTensorSliceDataset StatsAggregatorHandle
StatsAggregatorHandleV2 StatsAggregatorSetSummaryWriter StatsAggregatorSummary TakeDataset
TakeWhileDataset TensorDataset TensorSliceDataset ThreadPoolDataset ThreadPoolHandle UnbatchDataset
UniqueDataset UnwrapDatasetVariant WeightedFlatMapDataset WindowDataset WrapDatasetVariant
ZipDataset
"""
        ),
    ),
    Harmless(
        "use a reader of files or pass values through; only the operations that create a "
        "reader name its files",
        names(
            """
IdentityReader IdentityReaderV2 ReaderNumRecordsProduced ReaderNumRecordsProducedV2
ReaderNumWorkUnitsCompleted ReaderNumWorkUnitsCompletedV2 ReaderRead ReaderReadUpTo
ReaderReadUpToV2 ReaderReadV2 ReaderReset ReaderResetV2 ReaderRestoreState ReaderRestoreStateV2
ReaderSerializeState ReaderSerializeStateV2
"""
        ),
    ),
    Harmless(
        "train and evaluate boosted trees in memory",
        names(
            """
BoostedTreesAggregateStats BoostedTreesBucketize BoostedTreesCalculateBestFeatureSplit
BoostedTreesCalculateBestFeatureSplitV2 BoostedTreesCalculateBestGainsPerFeature
BoostedTreesCenterBias BoostedTreesCreateEnsemble BoostedTreesCreateQuantileStreamResource
BoostedTreesDeserializeEnsemble BoostedTreesEnsembleResourceHandleOp
BoostedTreesExampleDebugOutputs BoostedTreesFlushQuantileSummaries BoostedTreesGetEnsembleStates
BoostedTreesMakeQuantileSummaries BoostedTreesMakeStatsSummary BoostedTreesPredict
BoostedTreesQuantileStreamResourceAddSummaries BoostedTreesQuantileStreamResourceDeserialize
BoostedTreesQuantileStreamResourceFlush BoostedTreesQuantileStreamResourceGetBucketBoundaries
BoostedTreesQuantileStreamResourceHandleOp BoostedTreesSerializeEnsemble
BoostedTreesSparseAggregateStats BoostedTreesSparseCalculateBestFeatureSplit
BoostedTreesTrainingPredict BoostedTreesUpdateEnsemble BoostedTreesUpdateEnsembleV2
IsBoostedTreesEnsembleInitialized IsBoostedTreesQuantileStreamResourceInitialized
"""
        ),
    ),
    Harmless(
        "check a value, or print it on standard error",
        names("Assert CheckNumerics CheckNumericsV2 Print"),
    ),
    Harmless(
        "make summaries as tensors, or pass them to a writer; only "
        "CreateSummaryFileWriter and CreateSummaryDbWriter open one",
        names(
            """
AudioSummary AudioSummaryV2 CloseSummaryWriter DebugNumericSummaryV2 FlushSummaryWriter
HistogramSummary ImageSummary ImportEvent MergeSummary ScalarSummary SummaryWriter TensorSummary
TensorSummaryV2 WriteAudioSummary WriteGraphSummary WriteHistogramSummary WriteImageSummary
WriteRawProtoSummary WriteScalarSummary WriteSummary
"""
        ),
    ),
    Harmless(
        "keep tensors of a session in memory, under a name",
        names(
            """
DeleteSessionTensor GetSessionHandle GetSessionHandleV2 GetSessionTensor
"""
        ),
    ),
    Harmless(
        "return the time, the device or a setting of this process, or wait for the device",
        names("DeviceIndex IsTensorFloat32Enabled SyncDevice Timestamp"),
    ),
    Harmless(
        "compute from their inputs, though the registry calls them stateful to keep "
        "them from being folded or merged",
        names("DeepCopy Empty GuaranteeConst XlaDequantize"),
    ),
    Harmless(
        "mark what a TPU would compute; without one they hand their inputs on or do not run",
        names(
            """
TPUCompilationResult TPUCompileSucceededAssert TPUPartitionedInput TPUPartitionedInputV2
TPUPartitionedOutput TPUPartitionedOutputV2 TPUReplicateMetadata TPUReplicatedInput
TPUReplicatedOutput
"""
        ),
    ),
    Harmless(
        "compute parts of an embedding on a TPU's sparse cores by one of the "
        "model's functions; their names only look like custom calls",
        names(
            """
XlaSparseDenseMatmulCustomCombinerOnTcGradWithAdagradAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithAdagradMomentumAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithAdamAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithFtrlAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcGradWithSgdAndCsrInput
XlaSparseDenseMatmulCustomCombinerOnTcWithCsrInput
"""
        ),
    ),
    Harmless(
        "are fused operations that TensorFlow's graph optimizer creates; their inputs are "
        "plain tensors",
        names(
            """
_FusedBatchNormEx _FusedBatchNormGradEx _FusedConv2D _FusedConv3D _FusedDepthwiseConv2dNative
_FusedMatMul _FusedQuantizedConv2D _FusedQuantizedDepthwiseConv2D _TensorToHashBucketFast
_UnaryOpsComposition
"""
        ),
    ),
    Harmless(
        "turn a value into bytes in memory; nothing is written",
        names("SerializeManySparse SerializeSparse SerializeTensor"),
    ),
    Harmless(
        "join parts of a file's name; another operation opens the file",
        names("ShardedFilename ShardedFilespec"),
    ),
    Harmless(
        "finds paths through a matrix, not in a file system",
        names("CTCBeamSearchDecoder"),
    ),
    Harmless(
        "return their input or a constant; only their names sound dangerous",
        names("DebugGradientIdentity DebugGradientRefIdentity HostConst"),
    ),
    Harmless(
        "collects statistics for quantization and returns them as outputs",
        names("CustomAggregator"),
    ),
)
"""Operations of TensorFlow itself."""
