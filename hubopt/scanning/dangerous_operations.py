"""Operations that can do more than compute, as data.

Sources: the operations that the model scanner ``modelscan`` 0.8.8 refuses (``ReadFile``,
``WriteFile``); TensorFlow's security notes, which name files, the network and Python code; the
complete registry of TensorFlow 2.21; the libraries in the wheels of the packages that
`hubopt.scanning.op_packages` knows. Only other builds of TensorFlow register a few of the
operations: those that run TensorRT engines, and those of TensorFlow's server.
"""

from __future__ import annotations

from hubopt.scanning.operation_groups import Danger, names

DANGERS = (
    Danger(
        "can read any file of this machine",
        names(
            """
CSVDataset CSVDatasetV2 DecodeProtoV2 EncodeProto ExperimentalCSVDataset ExperimentalLMDBDataset
ExperimentalMatchingFilesDataset FixedLengthRecordDataset FixedLengthRecordDatasetV2
FixedLengthRecordReader FixedLengthRecordReaderV2 FixedUnigramCandidateSampler
GenerateVocabRemapping ImmutableConst InitializeTableFromTextFile InitializeTableFromTextFileV2
LMDBDataset LMDBReader ListSnapshotChunksDataset LoadAndRemapMatrix LoadDataset MatchingFiles
MatchingFilesDataset ParquetDataset ReadFile RecordInput Skipgram SnapshotChunkDataset
SnapshotDatasetReader SnapshotNestedDatasetReader TFRecordDataset TFRecordDatasetV2 TFRecordReader
TFRecordReaderV2 TextLineDataset TextLineReader TextLineReaderV2 WholeFileReader WholeFileReaderV2
"""
        ),
    ),
    Danger(
        "can read and write any database file of this machine",
        names("ExperimentalSqlDataset SqlDataset"),
    ),
    Danger(
        "can write files anywhere on this machine",
        names(
            """
CacheDataset CacheDatasetV2 CalibrationStatisticsSaver CreateSummaryDbWriter
CreateSummaryFileWriter DatasetToTFRecord DumpTensor ExperimentalDatasetToTFRecord PrintV2
SaveDataset SaveDatasetV2 SnapshotDataset SnapshotDatasetV2 WriteFile
"""
        ),
    ),
    Danger(
        "can read or write files under a path of its choice",
        names(
            """
DTensorRestoreV2 MergeV2Checkpoints Restore RestoreSlice RestoreV2 Save SaveSlices SaveV2
"""
        ),
        only_if_run=True,  # every SavedModel has some: they save and restore its variables
    ),
    Danger(
        "loads a decision forest from a path of its choice",
        names("SimpleMLLoadModelFromPath SimpleMLLoadModelFromPathWithHandle"),
    ),
    Danger(
        "runs Python code",
        names("EagerPyFunc PyFunc PyFuncStateless"),
    ),
    Danger(
        "can send data to other machines or take data from them",
        names(
            """
DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNanCount DebugNumericSummary
DeleteRpcFutureResource DistributedSave FileSystemSetConfiguration Recv RegisterDataset
RegisterDatasetV2 RemoteCall Send
"""
        ),
        prefixes=(
            "BigQuery",
            "Bigtable",
            "DataServiceDataset",
            "GcsConfigure",
            "IO>",
            "Reverb",
            "Rpc",
            "TFRA>Redis",
        ),
    ),
    Danger(
        "can send data to a debugger, on this machine or another",
        names("Copy CopyHost"),
    ),
    Danger(
        "exchanges data with the other machines of a cluster",
        names(
            """
AllToAll CollectiveAllToAllV2 CollectiveAllToAllV3 CollectiveAssignGroupV2 CollectiveBcastRecv
CollectiveBcastRecvV2 CollectiveBcastSend CollectiveBcastSendV2 CollectiveGather CollectiveGatherV2
CollectiveInitializeCommunicator CollectivePermute CollectiveReduce CollectiveReduceScatterV2
CollectiveReduceV2 CollectiveReduceV3 CopyToMesh CopyToMeshGrad CrossReplicaSum DTensorAllGather
DTensorAllReduce DTensorAllScatter DTensorAllToAll DTensorReduceScatter NcclAllReduce NcclBroadcast
NcclReduce Relayout RelayoutLike XlaAllReduce XlaReduceScatter
"""
        ),
        prefixes=(
            "Collective",
            "DTensorAll",
            "Nccl",
        ),
    ),
    Danger(
        "controls a TPU or its host, or exchanges data with one",
        names(
            """
CollateTPUEmbeddingMemory ComputeDedupDataSize ComputeDedupDataSizeV2 ComputeDedupDataTupleMask
ComputeDedupDataTupleMaskV2 ConfigureAndInitializeGlobalTPU ConfigureDistributedTPU
ConfigureTPUEmbedding ConfigureTPUEmbeddingHost ConfigureTPUEmbeddingMemory
ConnectTPUEmbeddingHosts ConvertToCooTensor DTensorSetGlobalTPUArray
DynamicEnqueueTPUEmbeddingArbitraryTensorBatch DynamicEnqueueTPUEmbeddingRaggedTensorBatch
EnqueueTPUEmbeddingArbitraryTensorBatch EnqueueTPUEmbeddingBatch EnqueueTPUEmbeddingIntegerBatch
EnqueueTPUEmbeddingRaggedTensorBatch EnqueueTPUEmbeddingSparseBatch
EnqueueTPUEmbeddingSparseTensorBatch ExecuteTPUEmbeddingPartitioner FinalizeTPUEmbedding
FinalizeTPUEmbeddingV2 GetMinibatchSplitsWithPhysicalReplica GetMinibatchesInCsrWithPhysicalReplica
GetTpuTaskId GlobalIterId InfeedDequeue InfeedDequeueTuple InfeedEnqueue
InfeedEnqueuePrelinearizedBuffer InfeedEnqueueTuple IsTPUEmbeddingInitialized
LoadAllTPUEmbeddingParameters LoadTPUEmbeddingADAMParameters LoadTPUEmbeddingAdadeltaParameters
LoadTPUEmbeddingAdagradMomentumParameters LoadTPUEmbeddingAdagradParameters
LoadTPUEmbeddingCenteredRMSPropParameters LoadTPUEmbeddingFTRLParameters
LoadTPUEmbeddingFrequencyEstimatorParameters LoadTPUEmbeddingMDLAdagradLightParameters
LoadTPUEmbeddingMomentumParameters LoadTPUEmbeddingProximalAdagradParameters
LoadTPUEmbeddingProximalYogiParameters LoadTPUEmbeddingRMSPropParameters
LoadTPUEmbeddingStochasticGradientDescentParameters OutfeedDequeue OutfeedDequeueTuple
OutfeedDequeueTupleV2 OutfeedDequeueV2 OutfeedEnqueue OutfeedEnqueueTuple Prelinearize
PrelinearizeTuple RecvTPUEmbeddingActivations RetrieveAllTPUEmbeddingParameters
RetrieveTPUEmbeddingADAMParameters RetrieveTPUEmbeddingAdadeltaParameters
RetrieveTPUEmbeddingAdagradMomentumParameters RetrieveTPUEmbeddingAdagradParameters
RetrieveTPUEmbeddingCenteredRMSPropParameters RetrieveTPUEmbeddingFTRLParameters
RetrieveTPUEmbeddingFrequencyEstimatorParameters RetrieveTPUEmbeddingMDLAdagradLightParameters
RetrieveTPUEmbeddingMomentumParameters RetrieveTPUEmbeddingProximalAdagradParameters
RetrieveTPUEmbeddingProximalYogiParameters RetrieveTPUEmbeddingRMSPropParameters
RetrieveTPUEmbeddingStochasticGradientDescentParameters SendTPUEmbeddingGradients
ShutdownDistributedTPU ShutdownTPUSystem StoreMinibatchStatisticsInFdo
TPUAnnotateTensorsWithDynamicShape TPUCompile TPUCopyWithDynamicShape TPUDummyInput
TPUEmbeddingActivations TPUExecute TPUExecuteAndUpdateVariables TPUOrdinalSelector
TPUPartitionedCall TPUReshardVariables TPURoundRobin TpuHandleToProtoKey
UpdateTaskIdAndGlobalCoreArray XlaHostCompute XlaRecv XlaRecvFromHost
XlaRecvTPUEmbeddingActivations XlaRecvTPUEmbeddingActivationsV2
XlaRecvTPUEmbeddingDeduplicationData XlaRecvTPUEmbeddingDeduplicationDataV2 XlaSend
XlaSendTPUEmbeddingGradients XlaSendTPUEmbeddingGradientsV2 XlaSendToHost XlaSparseCoreAdagrad
XlaSparseCoreAdagradMomentum XlaSparseCoreAdam XlaSparseCoreFtrl XlaSparseCoreSgd
"""
        ),
    ),
    Danger(
        "can block or end this process",
        names("Abort ExperimentalSleepDataset SleepDataset WorkerHeartbeat"),
    ),
    Danger(
        "runs a program packed inside a value, which hubopt cannot inspect",
        names(
            """
DatasetFromGraph DeserializeIterator IfrtCall IfrtLoadVariable IfrtRestoreVariable
MlirPassthroughOp RemoteFusedGraphExecute
"""
        ),
    ),
    Danger(
        "runs a compiled program packed inside it, which calls native code",
        names("XlaCallModule"),
    ),
    Danger(
        "runs native code packed inside a value",
        names(
            """
CreateTRTResourceHandle GetCalibrationDataOp InitializeTRTResource TRTEngineOp
"""
        ),
    ),
    Danger(
        "calls native code by its name",
        names("XlaCustomCall XlaCustomCallV2"),
    ),
    Danger(
        "can read or write tables in files of its choice",
        names(
            """
TFRA>CuckooHashTableLoadFromFileSystem TFRA>CuckooHashTableSaveToFileSystem
TFRA>HkvHashTableLoadFromFileSystem TFRA>HkvHashTableSaveToFileSystem
"""
        ),
    ),
    Danger(
        "trains decision forests, which writes files and talks to other machines",
        names(
            """
SimpleMLCategoricalIntFeature SimpleMLCategoricalIntFeatureOnFile SimpleMLCategoricalSetIntFeature
SimpleMLCategoricalSetStringFeature SimpleMLCategoricalStringFeature
SimpleMLCategoricalStringFeatureOnFile SimpleMLCheckStatus SimpleMLCheckTrainingConfiguration
SimpleMLChiefFinalizeFeatureOnFile SimpleMLCreateYDFGRPCWorker SimpleMLFileModelLoader
SimpleMLHashFeature SimpleMLModelTrainer SimpleMLModelTrainerOnFile SimpleMLNumericalFeature
SimpleMLNumericalFeatureOnFile SimpleMLShowModel SimpleMLStopYDFGRPCWorker SimpleMLUnloadModel
SimpleMLUpdateGRPCWorkerAddress SimpleMLWorkerFinalizeFeatureOnFile
"""
        ),
    ),
    Danger(
        "exists for TensorFlow's own tests; no model needs it",
        names(
            """
A Attr AttrBool AttrBoolList AttrDefault AttrEmptyListDefault AttrEnum AttrEnumList AttrFloat
AttrListDefault AttrListMin AttrListTypeDefault AttrMin AttrPartialShape AttrPartialShapeList
AttrShape AttrShapeList AttrTypeDefault B Binary ComplexStruct ConstructionFails CopyOp
DefaultAttrs DevicePlacementOp DtypeWithDefaultOp FakeQueue FiveFloatOutputs FloatInput FloatOutput
FloatOutputStringOutput Foo1 Foo2 Foo3 FuncAttr FuncListAttr GetDeadline GetElementAtIndex
GraphDefVersion InPolymorphicTwice Int64Output IntAttr IntInput IntInputFloatInput
IntInputIntOutput IntOutput IntOutputFloatOutput IsResourceHandleRefCounting KernelLabel
KernelLabelRequired ListInput ListOutput MakeWeakResourceHandle MixedStruct NInPolymorphicTwice
NInTwice NInTwoTypeVariables NIntsIn NIntsOut NIntsOutDefault NPolymorphicIn NPolymorphicOut
NPolymorphicOutDefault NPolymorphicRestrictIn NPolymorphicRestrictOut Namespace>TestStringOutput
None Old OpWithDefaultAttr OpWithFutureDefaultAttr OutT OutTypeList OutTypeListRestrict Polymorphic
PolymorphicDefaultOut PolymorphicOut RefIn RefInputFloatInput RefInputFloatInputIntOutput
RefInputIntInput RefOut RefOutput RefOutputFloatOutput RequiresOlderGraphVersion ReservedAttr
ReservedInput ResourceCreateOp ResourceInitializedOp ResourceUsingOp Restrict Simple SimpleStruct
SleepIdentityOp SleepOp StringListAttr StubResourceHandleOp TestAttr TestStringOutput
TwoFloatInputs TwoFloatInputsFloatOutput TwoFloatInputsIntOutput TwoFloatOutputs TwoIntInputs
TwoIntOutputs TwoRefsIn TypeList TypeListRestrict TypeListTwice Unary
"""
        ),
    ),
    Danger(
        "is internal to TensorFlow's runtime, which adds it itself; no model needs it",
        names(""),
        prefixes=("_",),
    ),
)
